// HMAC over the body as sent. The plain comparison is in this peer's favour: a real gate would compare in constant time.
import crypto from 'crypto';

function signature(r) {
    const expected = 'sha256=' + crypto.createHmac('sha256', '@SECRET@').update(r.requestBuffer).digest('hex');
    if (r.headersIn['X-Hub-Signature-256'] === expected) {
        r.internalRedirect('@genuine');
    } else {
        r.return(401);
    }
}

export default { signature };
